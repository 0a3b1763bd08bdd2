@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.7 = alloca i64
  %.16 = alloca float
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 3
  %n1 = load i64, ptr %at.n1, align 8
  %at.out.s0 = getelementptr i64, ptr %record, i64 4
  %out.s0 = load i64, ptr %at.out.s0, align 8
  %at.x.s0 = getelementptr i64, ptr %record, i64 5
  %x.s0 = load i64, ptr %at.x.s0, align 8
  %at.units = getelementptr i64, ptr %record, i64 7
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 8
  %grain = load i64, ptr %at.grain, align 8
  %.1 = mul i64 %out.s0, 4
  %.2 = mul i64 %x.s0, 4
  %.3 = icmp sgt i64 %n1, 0
  %.4 = mul i64 %number, %grain
  %.5 = add i64 %.4, %grain
  %.6 = call i64 @llvm.smin.i64(i64 %.5, i64 %units)
  store i64 %.4, ptr %.7
  %.9 = icmp slt i64 %.4, %.6
  br i1 %.9, label %loop.8, label %done.8
loop.8:
  %.10 = phi i64 [ %.4, %entry ], [ %.31, %done.17 ]
  %.11 = load i64, ptr %.7
  %.12 = mul i64 %.11, %.1
  %.13 = getelementptr i8, ptr %out.ptr, i64 %.12
  %.14 = mul i64 %.11, %.2
  %.15 = getelementptr i8, ptr %x.ptr, i64 %.14
  store float 0x8000000000000000, ptr %.16
  %.18 = icmp slt i64 0, %n1
  br i1 %.18, label %loop.17, label %done.17
loop.17:
  %.19 = phi i64 [ 0, %loop.8 ], [ %.27, %loop.17 ]
  %.20 = mul i64 %.19, 4
  %.21 = getelementptr i8, ptr %.15, i64 %.20
  %.22 = load float, ptr %.21, align 4
  %.23 = load float, ptr %.16
  %.24 = fadd float %.23, %.22
  store float %.24, ptr %.16
  %.25 = mul i64 %.19, 4
  %.26 = getelementptr i8, ptr %.13, i64 %.25
  store float %.24, ptr %.26, align 4
  %.27 = add i64 %.19, 1
  %.28 = icmp slt i64 %.27, %n1
  br i1 %.28, label %loop.17, label %done.17
done.17:
  %.29 = load i64, ptr %.7
  %.30 = add i64 %.29, 1
  store i64 %.30, ptr %.7
  %.31 = add i64 %.10, 1
  %.32 = icmp slt i64 %.31, %.6
  br i1 %.32, label %loop.8, label %done.8
done.8:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, i64 %n0, i64 %n1, i64 %out.s0, i64 %x.s0) #0 {
entry:
  %record = alloca [18 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n1, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %out.s0, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 5
  store i64 %x.s0, ptr %.6, align 8
  %.7 = icmp eq i64 %n0, 0
  br i1 %.7, label %leave, label %work
work:
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %n0, ptr %.9, align 8
  %.10 = getelementptr i64, ptr %record, i64 9
  store i64 %n0, ptr %.10, align 8
  %.11 = getelementptr i64, ptr %record, i64 10
  store i64 1, ptr %.11, align 8
  %.12 = mul i64 %n0, %n1
  %.13 = icmp sgt i64 %.12, 18181
  br i1 %.13, label %then.14, label %done.14
then.14:
  %.15 = mul i64 1, %n1
  %.16 = call i64 @llvm.smax.i64(i64 %.15, i64 1)
  %.17 = udiv i64 7232, %.16
  %.18 = call i64 @llvm.smax.i64(i64 %.17, i64 1)
  %.19 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.19, align 8
  %.20 = getelementptr i64, ptr %record, i64 8
  store i64 %.18, ptr %.20, align 8
  %.21 = sub i64 %.18, 1
  %.22 = add i64 %n0, %.21
  %.23 = udiv i64 %.22, %.18
  call void @facula_parallel(ptr @task, ptr %record, i64 %.23)
  br label %leave
never.24:
  br label %done.14
done.14:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
