@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, <16 x i1>)
declare i64 @llvm.smax.i64(i64, i64)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.8 = alloca i64
  %.9 = alloca i64
  %.27 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.y.ptr = getelementptr i64, ptr %record, i64 2
  %y.ptr = load ptr, ptr %at.y.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 3
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 4
  %n1 = load i64, ptr %at.n1, align 8
  %at.out.s0 = getelementptr i64, ptr %record, i64 5
  %out.s0 = load i64, ptr %at.out.s0, align 8
  %at.x.s0 = getelementptr i64, ptr %record, i64 6
  %x.s0 = load i64, ptr %at.x.s0, align 8
  %at.y.s0 = getelementptr i64, ptr %record, i64 7
  %y.s0 = load i64, ptr %at.y.s0, align 8
  %at.y.s1 = getelementptr i64, ptr %record, i64 8
  %y.s1 = load i64, ptr %at.y.s1, align 8
  %at.units = getelementptr i64, ptr %record, i64 10
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 11
  %grain = load i64, ptr %at.grain, align 8
  %at.chunk = getelementptr i64, ptr %record, i64 12
  %chunk = load i64, ptr %at.chunk, align 8
  %at.chunks = getelementptr i64, ptr %record, i64 13
  %chunks = load i64, ptr %at.chunks, align 8
  %.1 = mul i64 %out.s0, 4
  %.2 = mul i64 %x.s0, 4
  %.3 = mul i64 %y.s0, 4
  %.4 = mul i64 %y.s1, 4
  %.5 = mul i64 %number, %grain
  %.6 = add i64 %.5, %grain
  %.7 = call i64 @llvm.smin.i64(i64 %.6, i64 %units)
  %.10 = urem i64 %.5, %chunks
  store i64 %.10, ptr %.8
  %.11 = udiv i64 %.5, %chunks
  store i64 %.11, ptr %.9
  %.13 = icmp slt i64 %.5, %.7
  br i1 %.13, label %loop.12, label %done.12
loop.12:
  %.14 = phi i64 [ %.5, %entry ], [ %.194, %done.91 ]
  %.15 = load i64, ptr %.8
  %.16 = load i64, ptr %.9
  %.17 = mul i64 %.16, %.1
  %.18 = getelementptr i8, ptr %out.ptr, i64 %.17
  %.19 = mul i64 %.16, %.2
  %.20 = getelementptr i8, ptr %x.ptr, i64 %.19
  %.21 = mul i64 %.16, %.3
  %.22 = getelementptr i8, ptr %y.ptr, i64 %.21
  %.23 = mul i64 %.15, %chunk
  %.24 = add i64 %.23, %chunk
  %.25 = call i64 @llvm.smin.i64(i64 %.24, i64 %n1)
  %.26 = load float, ptr %.20, align 4
  store i64 %.23, ptr %.27
  %.29 = sub i64 %.25, 16
  %.30 = add i64 %.29, 1
  %.31 = icmp slt i64 %.23, %.30
  br i1 %.31, label %loop.28, label %done.28
loop.28:
  %.32 = phi i64 [ %.23, %loop.12 ], [ %.88, %loop.28 ]
  %.33 = insertelement <16 x float> poison, float %.26, i64 0
  %.34 = shufflevector <16 x float> %.33, <16 x float> poison, <16 x i32> zeroinitializer
  %.35 = mul i64 %.32, %.4
  %.36 = getelementptr i8, ptr %.22, i64 %.35
  %.37 = load float, ptr %.36, align 4
  %.38 = insertelement <16 x float> poison, float %.37, i64 0
  %.39 = getelementptr i8, ptr %.36, i64 %.4
  %.40 = load float, ptr %.39, align 4
  %.41 = insertelement <16 x float> %.38, float %.40, i64 1
  %.42 = getelementptr i8, ptr %.39, i64 %.4
  %.43 = load float, ptr %.42, align 4
  %.44 = insertelement <16 x float> %.41, float %.43, i64 2
  %.45 = getelementptr i8, ptr %.42, i64 %.4
  %.46 = load float, ptr %.45, align 4
  %.47 = insertelement <16 x float> %.44, float %.46, i64 3
  %.48 = getelementptr i8, ptr %.45, i64 %.4
  %.49 = load float, ptr %.48, align 4
  %.50 = insertelement <16 x float> %.47, float %.49, i64 4
  %.51 = getelementptr i8, ptr %.48, i64 %.4
  %.52 = load float, ptr %.51, align 4
  %.53 = insertelement <16 x float> %.50, float %.52, i64 5
  %.54 = getelementptr i8, ptr %.51, i64 %.4
  %.55 = load float, ptr %.54, align 4
  %.56 = insertelement <16 x float> %.53, float %.55, i64 6
  %.57 = getelementptr i8, ptr %.54, i64 %.4
  %.58 = load float, ptr %.57, align 4
  %.59 = insertelement <16 x float> %.56, float %.58, i64 7
  %.60 = getelementptr i8, ptr %.57, i64 %.4
  %.61 = load float, ptr %.60, align 4
  %.62 = insertelement <16 x float> %.59, float %.61, i64 8
  %.63 = getelementptr i8, ptr %.60, i64 %.4
  %.64 = load float, ptr %.63, align 4
  %.65 = insertelement <16 x float> %.62, float %.64, i64 9
  %.66 = getelementptr i8, ptr %.63, i64 %.4
  %.67 = load float, ptr %.66, align 4
  %.68 = insertelement <16 x float> %.65, float %.67, i64 10
  %.69 = getelementptr i8, ptr %.66, i64 %.4
  %.70 = load float, ptr %.69, align 4
  %.71 = insertelement <16 x float> %.68, float %.70, i64 11
  %.72 = getelementptr i8, ptr %.69, i64 %.4
  %.73 = load float, ptr %.72, align 4
  %.74 = insertelement <16 x float> %.71, float %.73, i64 12
  %.75 = getelementptr i8, ptr %.72, i64 %.4
  %.76 = load float, ptr %.75, align 4
  %.77 = insertelement <16 x float> %.74, float %.76, i64 13
  %.78 = getelementptr i8, ptr %.75, i64 %.4
  %.79 = load float, ptr %.78, align 4
  %.80 = insertelement <16 x float> %.77, float %.79, i64 14
  %.81 = getelementptr i8, ptr %.78, i64 %.4
  %.82 = load float, ptr %.81, align 4
  %.83 = insertelement <16 x float> %.80, float %.82, i64 15
  %.84 = fadd <16 x float> %.34, %.83
  %.85 = mul i64 %.32, 4
  %.86 = getelementptr i8, ptr %.18, i64 %.85
  store <16 x float> %.84, ptr %.86, align 4
  %.87 = add i64 %.32, 16
  store i64 %.87, ptr %.27
  %.88 = add i64 %.32, 16
  %.89 = icmp slt i64 %.88, %.30
  br i1 %.89, label %loop.28, label %done.28
done.28:
  %.90 = load i64, ptr %.27
  %.92 = icmp slt i64 %.90, %.25
  br i1 %.92, label %loop.91, label %done.91
loop.91:
  %.93 = phi i64 [ %.90, %done.28 ], [ %.185, %loop.91 ]
  %.94 = sub i64 %.25, %.93
  %.95 = call i64 @llvm.smin.i64(i64 %.94, i64 16)
  %.96 = sub i64 16, %.95
  %.97 = trunc i64 %.96 to i16
  %.98 = lshr i16 -1, %.97
  %.99 = bitcast i16 %.98 to <16 x i1>
  %.100 = insertelement <16 x float> poison, float %.26, i64 0
  %.101 = shufflevector <16 x float> %.100, <16 x float> poison, <16 x i32> zeroinitializer
  %.102 = mul i64 %.93, %.4
  %.103 = getelementptr i8, ptr %.22, i64 %.102
  %.104 = sub i64 %.25, %.93
  %.105 = load float, ptr %.103, align 4
  %.106 = insertelement <16 x float> poison, float %.105, i64 0
  %.107 = icmp sgt i64 %.104, 1
  %.108 = select i1 %.107, i64 %.4, i64 0
  %.109 = getelementptr i8, ptr %.103, i64 %.108
  %.110 = load float, ptr %.109, align 4
  %.111 = insertelement <16 x float> %.106, float %.110, i64 1
  %.112 = icmp sgt i64 %.104, 2
  %.113 = select i1 %.112, i64 %.4, i64 0
  %.114 = getelementptr i8, ptr %.109, i64 %.113
  %.115 = load float, ptr %.114, align 4
  %.116 = insertelement <16 x float> %.111, float %.115, i64 2
  %.117 = icmp sgt i64 %.104, 3
  %.118 = select i1 %.117, i64 %.4, i64 0
  %.119 = getelementptr i8, ptr %.114, i64 %.118
  %.120 = load float, ptr %.119, align 4
  %.121 = insertelement <16 x float> %.116, float %.120, i64 3
  %.122 = icmp sgt i64 %.104, 4
  %.123 = select i1 %.122, i64 %.4, i64 0
  %.124 = getelementptr i8, ptr %.119, i64 %.123
  %.125 = load float, ptr %.124, align 4
  %.126 = insertelement <16 x float> %.121, float %.125, i64 4
  %.127 = icmp sgt i64 %.104, 5
  %.128 = select i1 %.127, i64 %.4, i64 0
  %.129 = getelementptr i8, ptr %.124, i64 %.128
  %.130 = load float, ptr %.129, align 4
  %.131 = insertelement <16 x float> %.126, float %.130, i64 5
  %.132 = icmp sgt i64 %.104, 6
  %.133 = select i1 %.132, i64 %.4, i64 0
  %.134 = getelementptr i8, ptr %.129, i64 %.133
  %.135 = load float, ptr %.134, align 4
  %.136 = insertelement <16 x float> %.131, float %.135, i64 6
  %.137 = icmp sgt i64 %.104, 7
  %.138 = select i1 %.137, i64 %.4, i64 0
  %.139 = getelementptr i8, ptr %.134, i64 %.138
  %.140 = load float, ptr %.139, align 4
  %.141 = insertelement <16 x float> %.136, float %.140, i64 7
  %.142 = icmp sgt i64 %.104, 8
  %.143 = select i1 %.142, i64 %.4, i64 0
  %.144 = getelementptr i8, ptr %.139, i64 %.143
  %.145 = load float, ptr %.144, align 4
  %.146 = insertelement <16 x float> %.141, float %.145, i64 8
  %.147 = icmp sgt i64 %.104, 9
  %.148 = select i1 %.147, i64 %.4, i64 0
  %.149 = getelementptr i8, ptr %.144, i64 %.148
  %.150 = load float, ptr %.149, align 4
  %.151 = insertelement <16 x float> %.146, float %.150, i64 9
  %.152 = icmp sgt i64 %.104, 10
  %.153 = select i1 %.152, i64 %.4, i64 0
  %.154 = getelementptr i8, ptr %.149, i64 %.153
  %.155 = load float, ptr %.154, align 4
  %.156 = insertelement <16 x float> %.151, float %.155, i64 10
  %.157 = icmp sgt i64 %.104, 11
  %.158 = select i1 %.157, i64 %.4, i64 0
  %.159 = getelementptr i8, ptr %.154, i64 %.158
  %.160 = load float, ptr %.159, align 4
  %.161 = insertelement <16 x float> %.156, float %.160, i64 11
  %.162 = icmp sgt i64 %.104, 12
  %.163 = select i1 %.162, i64 %.4, i64 0
  %.164 = getelementptr i8, ptr %.159, i64 %.163
  %.165 = load float, ptr %.164, align 4
  %.166 = insertelement <16 x float> %.161, float %.165, i64 12
  %.167 = icmp sgt i64 %.104, 13
  %.168 = select i1 %.167, i64 %.4, i64 0
  %.169 = getelementptr i8, ptr %.164, i64 %.168
  %.170 = load float, ptr %.169, align 4
  %.171 = insertelement <16 x float> %.166, float %.170, i64 13
  %.172 = icmp sgt i64 %.104, 14
  %.173 = select i1 %.172, i64 %.4, i64 0
  %.174 = getelementptr i8, ptr %.169, i64 %.173
  %.175 = load float, ptr %.174, align 4
  %.176 = insertelement <16 x float> %.171, float %.175, i64 14
  %.177 = icmp sgt i64 %.104, 15
  %.178 = select i1 %.177, i64 %.4, i64 0
  %.179 = getelementptr i8, ptr %.174, i64 %.178
  %.180 = load float, ptr %.179, align 4
  %.181 = insertelement <16 x float> %.176, float %.180, i64 15
  %.182 = fadd <16 x float> %.101, %.181
  %.183 = mul i64 %.93, 4
  %.184 = getelementptr i8, ptr %.18, i64 %.183
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.182, ptr align 4 %.184, <16 x i1> %.99)
  %.185 = add i64 %.93, 16
  %.186 = icmp slt i64 %.185, %.25
  br i1 %.186, label %loop.91, label %done.91
done.91:
  %.187 = load i64, ptr %.8
  %.188 = add i64 %.187, 1
  %.189 = icmp eq i64 %.188, %chunks
  %.190 = zext i1 %.189 to i64
  %.191 = select i1 %.189, i64 0, i64 %.188
  store i64 %.191, ptr %.8
  %.192 = load i64, ptr %.9
  %.193 = add i64 %.192, %.190
  store i64 %.193, ptr %.9
  %.194 = add i64 %.14, 1
  %.195 = icmp slt i64 %.194, %.7
  br i1 %.195, label %loop.12, label %done.12
done.12:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, ptr %y.ptr, i64 %n0, i64 %n1, i64 %out.s0, i64 %x.s0, i64 %y.s0, i64 %y.s1) #0 {
entry:
  %record = alloca [21 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store ptr %y.ptr, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n0, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %n1, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 5
  store i64 %out.s0, ptr %.6, align 8
  %.7 = getelementptr i64, ptr %record, i64 6
  store i64 %x.s0, ptr %.7, align 8
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 %y.s0, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %y.s1, ptr %.9, align 8
  %.10 = mul i64 %n0, %n1
  %.11 = icmp eq i64 %.10, 0
  br i1 %.11, label %leave, label %work
work:
  %.12 = getelementptr i64, ptr %record, i64 10
  store i64 %n0, ptr %.12, align 8
  %.13 = getelementptr i64, ptr %record, i64 11
  store i64 %n0, ptr %.13, align 8
  %.14 = getelementptr i64, ptr %record, i64 12
  store i64 %n1, ptr %.14, align 8
  %.15 = getelementptr i64, ptr %record, i64 13
  store i64 1, ptr %.15, align 8
  %.16 = icmp sgt i64 %.10, 142857
  br i1 %.16, label %then.17, label %done.17
then.17:
  %.18 = sub i64 57088, 1
  %.19 = add i64 %n1, %.18
  %.20 = udiv i64 %.19, 57088
  %.21 = mul i64 %n0, %.20
  %.22 = call i64 @llvm.smin.i64(i64 57088, i64 %n1)
  %.23 = getelementptr i64, ptr %record, i64 13
  store i64 %.20, ptr %.23, align 8
  %.24 = getelementptr i64, ptr %record, i64 12
  store i64 %.22, ptr %.24, align 8
  %.25 = call i64 @llvm.smax.i64(i64 %.22, i64 1)
  %.26 = udiv i64 57088, %.25
  %.27 = call i64 @llvm.smax.i64(i64 %.26, i64 1)
  %.28 = getelementptr i64, ptr %record, i64 10
  store i64 %.21, ptr %.28, align 8
  %.29 = getelementptr i64, ptr %record, i64 11
  store i64 %.27, ptr %.29, align 8
  %.30 = sub i64 %.27, 1
  %.31 = add i64 %.21, %.30
  %.32 = udiv i64 %.31, %.27
  call void @facula_parallel(ptr @task, ptr %record, i64 %.32)
  br label %leave
never.33:
  br label %done.17
done.17:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
